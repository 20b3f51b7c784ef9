"""`seinectl render`: prints what `render` makes; both need no mesh."""

from collections.abc import Sequence

from libs.proxy.errors import NodeError
from services.ctl import output, validate
from services.ctl.output import Format
from services.ctl.render import UnknownProxyError, render


def run(paths: Sequence[str], proxy: str, form: Format) -> int:
    """Print the configuration of a proxy; problems are part of it and end nothing."""
    texts = dict(validate.texts(paths))
    try:
        rendered = render(texts, proxy)
    except (UnknownProxyError, NodeError) as error:
        output.fail(str(error), hint="A proxy is a Pod among the manifests, with its status.")
    if form is Format.JSON:
        output.print_json(rendered)
    else:
        _print(rendered)
    return output.OK


def _print(rendered: dict[str, object]) -> None:
    sources = rendered["sources"]
    for kind in ("clusters", "listeners", "routes", "endpoints", "bootstrap"):
        items = rendered[kind]
        for item in items if isinstance(items, list) else ():
            name = str(item.get("name") or item.get("cluster_name"))
            refs = sources.get(name, ()) if isinstance(sources, dict) else ()
            output.say(
                f"{kind.removesuffix('s'):<9} {output.clean(name)}  "
                f"[dim]{output.clean(' '.join(refs))}[/]"
            )
