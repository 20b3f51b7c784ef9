"""`python -m services.config_push`."""

from libs.runtime.main import run
from services.config_push.app import serve
from services.config_push.settings import Settings

if __name__ == "__main__":
    run("config-push", Settings, serve)
