from django.urls import path

from tests.integration.site import views

urlpatterns = [path("whoami", views.whoami), path("private", views.private), path("headers", views.headers)]
