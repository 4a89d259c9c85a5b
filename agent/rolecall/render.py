"""Role and assignment in, generation out: a pure function; equal input gives an equal generation.

In a template every value has to be written through the quoting of its format (`{{ host | apache }}`): an expression
whose result was not quoted is an error, so that none can be forgotten.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rolecall.assignment import AssignedProduct, Assignment
from rolecall.check import Check, ProductCheck, RoleCheck
from rolecall.errors import ConfigFault
from rolecall.generation import (
    AttachmentUse,
    DirectUse,
    Generation,
    ManagedFile,
    ReleaseUse,
    UnitUse,
    ValidatorUse,
    clashes,
    sealed,
    secret_token,
    tag_token,
)
from rolecall.mistakes import Mistake, Mistakes
from rolecall.quoting import FORMATS
from rolecall.role import Direct, FileSpec, Place, Role, Unit
from rolecall.templating import TROUBLE, Quoted, environment, place_of

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PATH = re.compile(r"(?!.*(?:\.\.|//|/\./|/\.?$))[A-Za-z0-9_][A-Za-z0-9._/-]*")


def render(
    role: Role,
    assignment: Assignment,
    place: Place,
    fingerprints: Mapping[str, str] | None = None,
    release_templates: Mapping[str, Mapping[str, str]] | None = None,
) -> Generation:
    """What the node is to be. Raises ConfigFault with every template that failed.

    `fingerprints` tell secrets' values apart without telling them; `release_templates` are the templates that
    products bring along: product → name → text.
    """
    return _Renderer(role, assignment, place, release_templates or {}).generation(fingerprints or {})


class _Renderer:
    def __init__(
        self,
        role: Role,
        assignment: Assignment,
        place: Place,
        release_templates: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.role, self.assignment, self.release_templates = role, assignment, release_templates
        self.place, self.mistakes = place, list[Mistake]()
        self.strict, self.plain = environment(role), environment(role, quoted=False)
        self.foreign = environment(role, foreign=True)
        self.context: dict[str, Any] = {
            "node": assignment, "products": assignment.products, "paths": place, "accounts": place.accounts,
            "tag": lambda unit: Quoted(tag_token(unit)),
        }  # fmt: skip
        self.context["names"] = self._names()

    def generation(self, fingerprints: Mapping[str, str]) -> Generation:
        table, products = self.role.table, self.assignment.products
        files = tuple(sorted(self._files(), key=lambda file: file.path))
        self.mistakes.extend(clashes([file.path for file in files]))
        units = tuple(self._unit(unit) for unit in table.unit)
        attachments = tuple(
            AttachmentUse(self._text(one.path), self._maybe(one.link), self._config(one.content, "role.toml"))
            for one in table.attachment
        )
        validators = tuple(
            ValidatorUse(one.name, tuple(self._text(word) for word in one.argv), one.timeout, one.unit)
            for one in table.validator
        )
        checks = tuple(self._checks())
        if self.mistakes:
            raise Mistakes(f"the role {self.role.name!r}, rendered for {self.assignment.server!r},", self.mistakes)
        return sealed(
            Generation(
                role=self.role.name, platform=self.place.platform, server=self.assignment.server,
                accounts=table.accounts if self.place.accounts else None, folders=table.folders,
                files=files, releases=tuple(_release(product) for product in products), units=units,
                attachments=attachments, validators=validators, checks=checks,
                secrets={one.key: fingerprints.get(one.key, "") for one in self.assignment.secrets},
            )
        )  # fmt: skip

    def _names(self) -> dict[str, Any]:
        known = self.role.table.platform
        if self.place.platform not in known:
            raise ConfigFault(
                f"the role {self.role.name!r} has no platform {self.place.platform!r}",
                f"set platform in agent.toml to one of: {', '.join(sorted(known))}",
            )
        own = dict(self.place.names or {})
        if unknown := sorted(set(own) - set(known[self.place.platform])):
            raise ConfigFault(
                f"[names] in agent.toml: the platform has no {', '.join(unknown)}",
                f"it has: {', '.join(sorted(known[self.place.platform]))}",
            )
        names = known[self.place.platform] | own
        return {key: self._text(value) if isinstance(value, str) else value for key, value in names.items()}

    def _files(self) -> list[ManagedFile]:
        made = []
        for spec in self.role.table.file:
            for product in self.assignment.products if spec.each else (None,):
                scope = self._scope(product)
                if spec.when and not self._true(spec.when, scope):
                    continue
                text = self._file_text(spec, product, scope)
                if text is not None:
                    made.append(self._file(spec, text, scope))
        return made

    def _file_text(self, spec: FileSpec, product: AssignedProduct | None, scope: dict[str, Any]) -> str | None:
        if not spec.release:
            return self._rendered(spec.source, lambda: self.strict.get_template(spec.source).render(scope))
        brought = self.release_templates.get(product.name, {}).get(spec.source) if product else None
        if brought is None or product is None:
            return None
        # A product's template is shown that product alone: others have secrets.
        own = scope | {"products": (product,), "node": replace(self.assignment, products=(product,))}
        source = f"{product.name}:{spec.source}"
        text = self._rendered(source, lambda: self.foreign.from_string(brought).render(own))
        if _CONTROL.search(self._without_tokens(text, product)):
            self.mistakes.append(Mistake((f"{self.role.name}/{source}",), "writes control characters", "remove them"))
        return text

    def _without_tokens(self, text: str, product: AssignedProduct) -> str:
        """The text without the tokens that a product's template may write; others it could only have forged."""
        tokens = [secret_token(one.key, form) for one in product.secrets for form in FORMATS]
        for token in (*tokens, *(tag_token(unit.name) for unit in self.role.table.unit)):
            text = text.replace(token, "")
        return text

    def _file(self, spec: FileSpec, text: str, scope: dict[str, Any]) -> ManagedFile:
        before, path = len(self.mistakes), self._text(spec.path, scope)
        if len(self.mistakes) == before and not _PATH.fullmatch(path):
            self.mistakes.append(Mistake((spec.source,), f"{path!r} is no path within a generation"))
        owner, group = ((self._text(spec.owner, scope), self._text(spec.group, scope)) if self.place.accounts
                        else ("", ""))  # fmt: skip
        return ManagedFile(path, text, int(spec.mode, 8), owner, group, tuple(sorted(spec.units)))

    def _unit(self, unit: Unit) -> UnitUse:
        direct = self._direct(unit.direct) if unit.direct else None
        return UnitUse(unit.name, self._text(unit.service), unit.action, direct)

    def _direct(self, how: Direct) -> DirectUse:
        return DirectUse(self._text(how.pidfile), tuple(self._text(word) for word in how.start), how.reload, how.stop)

    def _checks(self) -> list[Check]:
        made = []
        for spec in self.role.table.check:
            for product in self.assignment.products if spec.each else (None,):
                scope = self._scope(product)
                if not spec.when or self._true(spec.when, scope):
                    made.append(self._role_check(spec, scope))
        for product in self.assignment.products:
            for check in product.checks:
                made.extend(self._product_check(product, check))
        return made

    def _role_check(self, spec: RoleCheck, scope: dict[str, Any]) -> Check:
        target = getattr(spec, spec.kind)
        expect: dict[str, Any] = {"http": self._http_expectation(spec, scope)} if spec.kind == "http" else {}
        expect = expect.get("http", {k: v for k, v in {"max_age": spec.max_age, "free_mb": spec.free_mb}.items() if v})
        return Check(self._text(spec.name, scope), spec.kind, self._text(str(target), scope), expect, spec.timeout,
                     spec.required)  # fmt: skip

    def _http_expectation(self, spec: RoleCheck, scope: dict[str, Any]) -> dict[str, Any]:
        headers = {name: self._text(value, scope) for name, value in spec.headers.items()}
        contains = None if spec.contains is None else self._text(spec.contains, scope)
        return {"host": self._text(spec.host, scope), "port": self._text(spec.port, scope), "status": spec.status,
                "contains": contains, "headers": headers}  # fmt: skip

    def _product_check(self, product: AssignedProduct, check: ProductCheck) -> list[Check]:
        """A product's own checks; those over HTTP are asked as the role's first HTTP check for products is."""
        if check.tcp is not None:
            return [Check(check.name or f"{product.name}: connect to {name}", "tcp", target, {}, check.timeout,
                          check.required) for name, target in _endpoints(product, check.tcp)]  # fmt: skip
        model = next((one for one in self.role.table.check if one.http is not None and one.each == "product"), None)
        if model is None:
            return []
        expect = self._http_expectation(model, self._scope(product))
        expect |= {"status": check.status, "contains": check.contains}
        name = check.name or f"{product.name}: GET {check.http}"
        return [Check(name, "http", str(check.http), expect, check.timeout, check.required)]

    def _scope(self, product: AssignedProduct | None) -> dict[str, Any]:
        if product is None:
            return self.context
        return self.context | {"product": product, "code": f"{self.place.state}/{product.release_folder}"}

    def _true(self, expression: str, scope: dict[str, Any]) -> bool:
        compiled = functools.partial(self.plain.compile_expression, expression, undefined_to_none=False)
        return bool(self._guard("role.toml", lambda: bool(compiled()(**scope)), expression))

    def _text(self, template: str, scope: dict[str, Any] | None = None) -> str:
        """A single value of role.toml."""
        work = functools.partial(self.plain.from_string, template)
        return str(self._guard("role.toml", lambda: work().render(scope or self.context), template))

    def _config(self, template: str | None, where: str) -> str | None:
        """A value of role.toml that is a configuration file itself."""
        if template is None:
            return None
        return str(self._guard(where, lambda: self.strict.from_string(template).render(self.context), template))

    def _maybe(self, template: str | None) -> str | None:
        return None if template is None else self._text(template)

    def _rendered(self, source: str, work: Callable[[], str]) -> str:
        return str(self._guard(source, work))

    def _guard(self, source: str, work: Callable[[], Any], value: str = "") -> Any:
        """Run a template; what goes wrong is collected, with the template's line or the value of role.toml."""
        try:
            return work()
        except TROUBLE as error:
            at = source if value else place_of(error, source)
            words = (str(error) or type(error).__name__) + (f", in {value!r}" if value else "")
            self.mistakes.append(Mistake((f"{self.role.name}/{at}",), words))
            return ""


def _release(product: AssignedProduct) -> ReleaseUse:
    release = product.release
    return ReleaseUse(product.name, release.version, release.artifact, release.sha256, release.size,
                      product.release_folder, product.document_root, product.writable)  # fmt: skip


def _endpoints(product: AssignedProduct, target: str) -> list[tuple[str, str]]:
    """(what people call it, host:port) for each endpoint that a tcp check means."""
    kind, _, name = target.rpartition(":")
    if kind == "database":
        return [(f"the master of {name}", str(one.master)) for one in product.databases if one.name == name]
    if kind == "cache":
        return [(f"{end.server} of {name}", str(end)) for one in product.caches if one.name == name
                for end in one.servers]  # fmt: skip
    return [(target, target)]
