"""Label selectors: whether labels meet the conditions that people write in Kubernetes' own way."""

from collections.abc import Mapping

from libs.api.mesh_parts import LabelSelector, Requirement


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether `labels` meet all conditions; without conditions, all labels do.

    A condition with an operator that there is not is met by nothing: validation has said so.
    """
    return all(labels.get(name) == value for name, value in selector.match_labels.items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions
    )


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    written = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return written is not None and written in requirement.values
        case "NotIn":
            return written is None or written not in requirement.values
        case "Exists":
            return written is not None
        case "DoesNotExist":
            return written is None
        case _:
            return False
