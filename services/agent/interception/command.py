"""The `init` command: lays, prints, checks or removes the interception rules, and exits.

Exit codes: 0 done, 1 the rules could not be laid, 2 a flag is wrong, 126 validation failed (the
code that repair controllers look for).
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.agent.interception import nftables
from services.agent.interception.apply import InterceptionError, clean, families, lay
from services.agent.interception.options import Options, OptionsError, parse
from services.agent.interception.rules import restore
from services.agent.interception.validate import ValidationError, validate

DONE, FAILED, MISUSED, INVALID = 0, 1, 2, 126


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the flags ask and return the exit code."""
    try:
        options = parse(arguments, environ, _resolv_conf())
        _perform(options)
    except OptionsError as error:
        return _fail(MISUSED, error)
    except ValidationError as error:
        return _fail(INVALID, error)
    except InterceptionError as error:
        return _fail(FAILED, error)
    return DONE


def _perform(options: Options) -> None:
    if options.dry_run:
        text_of = nftables.ruleset if options.native_nftables else restore
        for family in families(options):
            sys.stdout.write(f"# IPv{family.version}\n{text_of(options, family)}")
        return
    if options.cleanup_only:
        clean(options)
        return
    if not options.skip_rule_apply:
        lay(options)
    if options.run_validation:
        validate(options)


def _fail(code: int, error: Exception) -> int:
    sys.stderr.write(f"agent init: {error}\n")
    return code


def _resolv_conf() -> str:
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""
