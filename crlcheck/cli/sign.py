"""``crlcheck sign``: sign the root of a store again."""

from __future__ import annotations

import click

from crlcheck.cli.command import command
from crlcheck.cli.inputs import open_target
from crlcheck.cli.options import SIGN_WITH_VARIABLE, given_signer, signing_options
from crlcheck.cli.parameters import STORE
from crlcheck.cli.text import answer, say
from crlcheck.publisher.sign import sign_root
from crlcheck.times import time_text


@command(
    "sign",
    examples=[
        "crlcheck sign published --sign-with root-key.pem",
        "crlcheck sign s3://crls/published --sign-with alias/crlcheck-root --root-expiry 3d",
    ],
)
@click.argument("store", type=STORE)
@signing_options
@click.option(
    "--adopt",
    is_flag=True,
    help="Sign a root that none of these keys has signed, and vouch for all that it has.",
)
def sign_command(store: str, adopt: bool) -> int:
    """
    Sign the root of STORE again, so that it expires later.

    The published set and its generation stay as they are. Run it regularly where CRLs come
    more rarely than signatures expire. A root that the key has not signed is refused:
    --adopt signs the first one of a store, and that of a key that is lost.
    """
    target, signer = open_target(store), given_signer()
    if signer is None:
        raise click.UsageError(f"no key is given: expected --sign-with or {SIGN_WITH_VARIABLE}")
    report = sign_root(target, signer, adopt=adopt)
    answer(
        {
            "store": store,
            "store_id": report.store_id,
            "generation": report.generation,
            "expires": time_text(report.expires),
            "key_ids": list(report.key_ids),
        }
    )
    say(
        f"{store}: generation {report.generation} is signed by {', '.join(report.key_ids)} "
        f"until {time_text(report.expires)}"
    )
    return 0
