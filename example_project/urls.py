import os

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import path

from example_project import views

# The same view, sync and async: the decorator takes both.
_reports = views.reports_async if os.environ.get("MTLS_EXAMPLE_APP") == "django-asgi" else views.reports

urlpatterns = [
    path("", views.index),
    path("whoami", views.who_am_i),
    path("reports", _reports),
    path("admin/", admin.site.urls),
    # `insecure` means: without DEBUG, and slowly. A real site leaves its static files to the proxy.
    path("static/<path:path>", serve, {"insecure": True}),
]
