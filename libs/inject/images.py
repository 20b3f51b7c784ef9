"""Images: which image a proxy runs."""

from libs.inject.scene import Scene
from libs.inject.values import Global


def proxy_image(scene: Scene) -> str:
    """Return the image of the proxy: the pod's wish, else the values', else the control plane's."""
    if scene.wishes.image:
        return scene.wishes.image
    global_ = scene.settings.config.values.global_
    image = _located(global_.proxy.image, scene) or scene.cluster.proxy_image
    return _variant(image, _image_type(scene))


def init_image(scene: Scene) -> str:
    """Return the image that lays interception rules: the proxy's, unless values name another."""
    return _located(scene.settings.config.values.global_.proxy_init.image, scene) or proxy_image(
        scene
    )


def _image_type(scene: Scene) -> str:
    configured = scene.proxy.image.image_type if scene.proxy.image else ""
    return scene.wishes.image_type or configured or scene.settings.config.values.global_.variant


def configured(global_: Global) -> str:
    """Return the image of the proxy that the values name, without its variant; empty if none."""
    return _in_hub(global_.proxy.image, global_)


def _located(image: str, scene: Scene) -> str:
    return _in_hub(image, scene.settings.config.values.global_)


def _in_hub(image: str, global_: Global) -> str:
    """A bare name, such as `proxyv2`, is of the hub and has the tag that the values name."""
    if not image or "/" in image or ":" in image:
        return image
    tag = f":{global_.tag}" if global_.tag else ""
    return f"{global_.hub}/{image}{tag}" if global_.hub else f"{image}{tag}"


def _variant(image: str, kind: str) -> str:
    if kind in {"", "default"} or "@" in image:
        return image
    return f"{image}-{kind}" if ":" in image.rpartition("/")[2] else f"{image}:latest-{kind}"
