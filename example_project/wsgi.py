import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"  # whatever the shell has exported
application = get_wsgi_application()
