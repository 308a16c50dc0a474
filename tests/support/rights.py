"""What policies allow, as a simulator of IAM decides it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.cloudformation import ACCOUNT, Stack
from support.sam import ROOT, TOOLS

EVERYTHING_ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


_DEFAULT_KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}
"""What AWS gives a key that is made without a policy: the account's policies decide."""


class Rights:
    """Asks a simulator of IAM, which knows every action and condition of AWS."""

    def __init__(self, stack: Stack) -> None:
        self._bucket = stack["Bucket"]["BucketName"]
        self._policy = stack["BucketPolicy"]["PolicyDocument"]
        self._stack = stack
        self._asked: list[dict[str, Any]] = []

    def ask(
        self,
        principal: str,
        action: str,
        key: str | None,
        identity: dict[str, Any] | None,
        **context: str,
    ) -> None:
        """Ask whether *principal* may do *action* with an object, or with the bucket."""
        arn = f"arn:aws:s3:::{self._bucket}" + (f"/{key}" if key is not None else "")
        self.ask_about(arn, self._policy, principal, action, identity, **context)

    def ask_about(
        self,
        arn: str,
        policy: dict[str, Any] | None,
        principal: str,
        action: str,
        identity: dict[str, Any] | None,
        **context: str,
    ) -> None:
        """
        Ask whether *principal* may do *action* with any resource, which has a *policy*. In
        names of *context* ``_`` stands for ``:``.
        """
        known = {"aws:SecureTransport": "true"}
        if principal.startswith("arn:"):
            known["aws:PrincipalArn"] = principal
        self._asked.append(
            {
                "request": {
                    "principal": _session_of(principal),
                    "action": action,
                    "resource": {"resource": arn, "accountId": ACCOUNT},
                    "contextVariables": {
                        **known,
                        **{k.replace("_", ":"): v for k, v in context.items()},
                    },
                },
                "identityPolicies": [{"name": "own", "policy": identity}] if identity else [],
                "serviceControlPolicies": [],
                "resourceControlPolicies": [],
                **({"resourcePolicy": policy} if policy else {}),
            }
        )

    def ask_for_role(self, name: str, action: str, key: str | None) -> None:
        """Ask for the role of a function."""
        (policy,) = self._stack[name]["Policies"]
        self.ask(f"arn:aws:iam::{ACCOUNT}:role/{name}", action, key, policy["PolicyDocument"])

    def ask_role_about(self, name: str, action: str, arn: str, **context: str) -> None:
        """Ask for the role of a function about a resource that leaves it to the role."""
        (own,) = self._stack[name]["Policies"]
        principal = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        policy = _DEFAULT_KEY_POLICY if action.startswith("kms:") else None
        self.ask_about(arn, policy, principal, action, own["PolicyDocument"], **context)

    def answers(self) -> list[bool]:
        """What each question since the last answers comes to."""
        asked, self._asked = self._asked, []
        run = subprocess.run(
            [
                TOOLS / "node/bin/node",
                ROOT / "tests" / "deploy" / "simulate.js",
                TOOLS / "simulate",
            ],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(run.stdout)
        assert len(found) == len(asked)
        assert set(found) <= {"Allowed", "ImplicitlyDenied", "ExplicitlyDenied"}
        return [one == "Allowed" for one in found]


def _session_of(principal: str) -> str:
    """The principal of a request that a role makes."""
    return principal.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + (
        "/session" if ":role/" in principal else ""
    )
