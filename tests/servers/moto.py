"""moto, the AWS of the tests, as a program that checks signatures and IAM policies.

`with Moto() as moto:` starts it. Its administrator may do everything; whoever `moto.principal(name, policy)` makes may
do what the policy says. moto compares actions and resources, and nothing else: it takes every condition of a statement
for met, and it knows no key that has expired and no clock that is wrong.

As a program: `python -m servers.moto PORT`. It ends when its standard input does, so that it never outlives a test.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

from rolecall.demo import folder_node

ACCOUNT = "123456789012"
REGION = "us-east-1"
TESTS = Path(__file__).parents[1]


class Key(NamedTuple):
    """What a request is signed with."""

    access_key_id: str
    secret: str
    token: str | None = None


class Moto:
    """A running moto: `url`, a key that may do everything, clients and principals."""

    def __init__(self) -> None:
        self.url = ""
        self.administrator = Key("AKIAIOSFODNN7EXAMPLE", "unchecked")
        self._arn = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._clients: dict[tuple[str, Key], Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            # The three requests that INITIAL_NO_AUTH_ACTION_COUNT leaves unchecked; all that follow are checked.
            iam = self.client("iam")
            user = iam.create_user(UserName="administrator")["User"]
            everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
            iam.put_user_policy(UserName="administrator", PolicyName="all", PolicyDocument=policy(everything))
            made = iam.create_access_key(UserName="administrator")["AccessKey"]
        except BaseException:
            self.__exit__()
            raise
        self.administrator = Key(made["AccessKeyId"], made["SecretAccessKey"])
        self._arn = user["Arn"]
        return self

    def __exit__(self, *exception: object) -> None:
        for client in self._clients.values():
            client.close()
        if self._process:
            self._process.kill()
            self._process.communicate()
        self._log.close()

    def client(self, service: str, key: Key | None = None) -> Any:
        """A boto3 client that knows only this moto and this key, and nothing from the environment; asks once."""
        who = key or self.administrator
        if (service, who) not in self._clients:
            self._clients[service, who] = self._client(service, who)
        return self._clients[service, who]

    def principal(self, name: str, document: dict[str, Any]) -> Key:
        """The temporary credentials of a new role with this policy: what the role of an instance has."""
        iam = self.client("iam")
        trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": self._arn}})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(document))
        # The sessions of an instance's role are named like the instance.
        assumed = self.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="i-0123456789abcdef0")
        made = assumed["Credentials"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def log(self) -> str:
        """What the program wrote: a line a request, and why it did not start."""
        file = self._log.fileno()  # its position is the program's too: leave it where it is
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def _start(self) -> None:
        for _ in range(5):  # somebody else may take the port in between
            port = folder_node.free_port(random.randrange(20000, 32000))
            env = {"PATH": os.defpath, "PYTHONPATH": str(TESTS), "INITIAL_NO_AUTH_ACTION_COUNT": "3"}
            argv = [sys.executable, "-P", "-m", "servers.moto", str(port)]
            self._process = subprocess.Popen(
                argv, env=env, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, cwd="/"
            )
            deadline = time.monotonic() + 60
            while self._process.poll() is None and time.monotonic() < deadline:
                if f"Running on http://127.0.0.1:{port}" in self.log():
                    self.url = f"http://127.0.0.1:{port}"
                    return
                time.sleep(0.05)
            self._process.kill()
            self._process.communicate()
        raise RuntimeError(f"moto does not start:\n{self.log()}")

    def _client(self, service: str, key: Key) -> Any:
        import boto3
        from botocore.config import Config

        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        with mock.patch.dict(os.environ, {**kept, **nowhere}, clear=True):
            return boto3.session.Session().client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id=key.access_key_id,
                aws_secret_access_key=key.secret,
                aws_session_token=key.token,
                config=Config(
                    proxies={},
                    retries={"total_max_attempts": 1},
                    connect_timeout=10,
                    read_timeout=30,
                    s3={"addressing_style": "path"},
                ),
            )


def policy(*statements: dict[str, Any]) -> str:
    """A policy document with these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def serve(port: int) -> None:
    """Run moto until standard input ends."""
    from moto.core.exceptions import (
        AccessDeniedError,
        InvalidClientTokenIdError,
        JsonRESTError,
        SignatureDoesNotMatchError,
    )
    from moto.core.responses import BaseResponse
    from moto.secretsmanager import urls as secretsmanager
    from moto.secretsmanager.responses import SecretsManagerResponse
    from moto.server import main
    from moto.ssm import urls as ssm
    from moto.ssm.responses import SimpleSystemManagerResponse

    # What these services call it when they refuse; moto says it in the XML and the words of others.
    refusals = {
        AccessDeniedError: "AccessDeniedException",
        InvalidClientTokenIdError: "UnrecognizedClientException",
        SignatureDoesNotMatchError: "InvalidSignatureException",
    }

    # moto asks a service which resource a request is for, to compare it with the policy's, and takes "*" where the
    # service has no answer. Parameter Store and Secrets Manager have none there, so that a policy which names resources
    # permits nothing. Here they answer; a request for several needs the permission for each, as in AWS.
    class Service(BaseResponse):
        def about(self) -> list[str]:
            raise NotImplementedError

        def _authenticate_and_authorize_normal_action(self, resource: str = "*") -> None:
            try:
                for one in self.about() or [resource]:
                    super()._authenticate_and_authorize_normal_action(one)
            except (AccessDeniedError, InvalidClientTokenIdError, SignatureDoesNotMatchError) as error:
                raise JsonRESTError(refusals[type(error)], error.message) from None

    class Parameters(Service, SimpleSystemManagerResponse):
        def about(self) -> list[str]:
            given = self._get_param("Names") or self._get_param("Name") or self._get_param("Path") or []
            names = [given] if isinstance(given, str) else given
            prefix = f"arn:aws:ssm:{self.region}:{self.current_account}:parameter/"
            return [prefix + name.lstrip("/") for name in names]

    class Secrets(Service, SecretsManagerResponse):
        def about(self) -> list[str]:
            name = self._get_param("SecretId") or self._get_param("Name")
            if not name:
                return []
            known = self.backend.secrets.get(name)
            prefix = f"arn:aws:secretsmanager:{self.region}:{self.current_account}:secret:"
            return [known.arn if known else f"{prefix}{name}-AbCdEf"]

    ssm.url_paths["{0}/$"] = Parameters.dispatch
    secretsmanager.url_paths["{0}/$"] = Secrets.dispatch
    threading.Thread(target=end_with_input, daemon=True).start()
    main(["-H", "127.0.0.1", "-p", str(port)])


def end_with_input() -> None:
    """Whoever started this has closed the pipe, or is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
