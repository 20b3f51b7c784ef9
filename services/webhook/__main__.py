"""`python -m services.webhook`."""

from libs.runtime.main import run
from services.webhook.app import serve
from services.webhook.settings import Settings

if __name__ == "__main__":
    run("webhook", Settings, serve)
