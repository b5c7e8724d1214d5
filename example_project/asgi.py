import os

from django.core.asgi import get_asgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"  # whatever the shell has exported
application = get_asgi_application()
