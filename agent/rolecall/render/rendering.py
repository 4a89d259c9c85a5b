"""Role and assignment in, generation out: a pure function; equal input gives an equal generation.

In a template every value has to be written through the quoting of its format (`{{ host | apache }}`): an expression
whose result was not quoted is an error, so that none can be forgotten.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.forms.mistakes import Mistake, Mistakes, suggest
from rolecall.forms.quoting import FORMATS
from rolecall.render.expressions import Expressions, Scope
from rolecall.render.generation import ITSELF, Generation, ManagedFile, clashes, sealed, secret_token, tag_token
from rolecall.render.parts import AttachmentUse, DirectUse, ReleaseUse, ReplicationUse, UnitUse, ValidatorUse
from rolecall.render.role import DirectCommands, FileSpec, NodeFacts, Role, Unit, names_on
from rolecall.render.selftests import checks
from rolecall.render.templating import Quoted, environment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PATH = re.compile(r"(?!.*(?:\.\.|//|/\./|/\.?$))[A-Za-z0-9_][A-Za-z0-9@._/-]*")


def render(
    role: Role,
    assignment: Assignment,
    facts: NodeFacts,
    fingerprints: Mapping[str, str] | None = None,
    release_templates: Mapping[str, Mapping[str, str]] | None = None,
) -> Generation:
    """What the node is to be. Raises ConfigFault with every template that failed.

    `fingerprints` tell secrets' values apart without telling them; `release_templates` are the templates that
    products bring along: product → name → text.
    """
    return _Renderer(role, assignment, facts, release_templates or {}).generation(fingerprints or {})


class _Renderer:
    def __init__(
        self,
        role: Role,
        assignment: Assignment,
        facts: NodeFacts,
        release_templates: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.table, self.assignment, self.facts = role.table, assignment, facts
        self.release_templates, self.foreign = release_templates, environment(role, foreign=True)
        self.context: dict[str, Any] = {
            "assignment": assignment, "products": assignment.products, "caches": assignment.caches,
            "databases": assignment.databases, "fleet": assignment.everything, "machine": facts.machine,
            "paths": facts, "accounts": facts.accounts, "tag": lambda unit: Quoted(tag_token(unit)),
            "generation": Quoted(tag_token(ITSELF)),
        }  # fmt: skip
        self.role = Expressions(role, self.context)
        self.context["names"] = self._names()

    def generation(self, fingerprints: Mapping[str, str]) -> Generation:
        role, table, mistakes = self.role, self.table, self.role.mistakes
        units = tuple(self._unit(unit, scope) for unit in table.unit for scope in self._scopes(unit.each))
        files = tuple(sorted(self._files({unit.name for unit in units}), key=lambda file: file.path))
        mistakes.extend(clashes([file.path for file in files]))
        attachments = tuple(
            AttachmentUse(role.text(one.path), role.maybe(one.link), role.config(one.content), role.maybe(one.to))
            for one in table.attachment
        )
        validators = tuple(
            ValidatorUse(role.text(one.name, scope), tuple(role.text(word, scope) for word in one.argv), one.timeout,
                         one.unit)
            for one in table.validator for scope in self._scopes(one.each)
        )  # fmt: skip
        tests = checks(role, self._scopes)
        if mistakes:
            raise Mistakes(f"the role {role.role.name!r}, rendered for {self.assignment.server!r},", mistakes)
        return sealed(
            Generation(
                role=role.role.name, platform=self.facts.platform, server=self.assignment.server,
                accounts=table.accounts if self.facts.accounts else None, folders=table.folders,
                files=files, releases=tuple(map(_release, self.assignment.products)), units=units,
                attachments=attachments, validators=validators, checks=tests, replication=self._replication(),
                secrets={one.key: fingerprints.get(one.key, "") for one in self.assignment.secrets},
            )
        )  # fmt: skip

    def _scopes(self, each: str | None) -> Iterator[Scope]:
        """What a part of role.toml is made for, and sees: once, or for each product, cache or database of this node."""
        match each:
            case "product":
                for product in self.assignment.products:
                    code = f"{self.facts.state}/{product.release_folder}"
                    yield self.context | {"product": product, "code": code}
            case "cache":
                yield from (self.context | {"cache": cache} for cache in self.assignment.caches)
            case "database":
                yield from (self.context | {"database": one} for one in self.assignment.databases)
            case _:
                yield self.context

    def _names(self) -> dict[str, Any]:
        known = names_on(self.table, self.facts.platform)
        if known is None:
            raise ConfigFault(
                f"the role {self.role.role.name!r} has no platform {self.facts.platform!r}",
                f"set platform in agent.toml to one of: {', '.join(sorted(self.table.platform))}",
            )
        own = dict(self.facts.names or {})
        if unknown := sorted(set(own) - set(known)):
            raise ConfigFault(
                f"[names] in agent.toml: the platform has no {', '.join(unknown)}",
                f"it has: {', '.join(sorted(known))}",
            )
        names = known | own
        return {key: self.role.text(value) if isinstance(value, str) else value for key, value in names.items()}

    def _files(self, units: set[str]) -> Iterator[ManagedFile]:
        for spec in self.table.file:
            for scope in self._scopes(spec.each):
                if not self.role.true(spec.when, scope):
                    continue
                text = self._brought(spec, scope) if spec.release else self.role.file(spec.source, scope)
                if text is not None:
                    yield self._file(spec, text, scope, units)

    def _brought(self, spec: FileSpec, scope: Scope) -> str | None:
        """The file from a template that the product's release has, if it has it."""
        product: AssignedProduct = scope["product"]
        brought = self.release_templates.get(product.name, {}).get(spec.source)
        if brought is None:
            return None
        # A product's template is shown that product alone: others have secrets.
        mine = replace(self.assignment, products=(product,), caches=(), databases=(), everything=None)
        own = {**scope, "products": (product,), "caches": (), "databases": (), "fleet": None, "assignment": mine}
        source = f"{product.name}:{spec.source}"
        text = self.role.rendered(source, lambda: self.foreign.from_string(brought).render(own))
        if _CONTROL.search(self._without_tokens(text, product)):
            where = f"{self.role.role.name}/{source}"
            self.role.mistakes.append(Mistake((where,), "writes control characters", "remove them"))
        return text

    def _without_tokens(self, text: str, product: AssignedProduct) -> str:
        """The text without the tokens that a product's template may write; others it could only have forged."""
        tokens = [secret_token(one.key, form) for one in product.secrets for form in FORMATS]
        for token in (*tokens, *(tag_token(name) for name in (ITSELF, *(unit.name for unit in self.table.unit)))):
            text = text.replace(token, "")
        return text

    def _file(self, spec: FileSpec, text: str, scope: Scope, units: set[str]) -> ManagedFile:
        mistakes, before = self.role.mistakes, len(self.role.mistakes)
        path, readers = self.role.text(spec.path, scope), sorted(self.role.text(unit, scope) for unit in spec.units)
        if len(mistakes) == before and not _PATH.fullmatch(path):
            mistakes.append(Mistake((spec.source,), f"{path!r} is no path within a generation"))
        mistakes += [Mistake((spec.source,), f"there is no unit {unit!r}", suggest(unit, units, "add [[unit]]"))
                     for unit in readers if unit not in units and len(mistakes) == before]  # fmt: skip
        owner, group = (self.role.text(one, scope) if self.facts.accounts else "" for one in (spec.owner, spec.group))
        return ManagedFile(path, text, int(spec.mode, 8), owner, group, tuple(readers))

    def _replication(self) -> ReplicationUse | None:
        use, text = self.table.replication, self.role.text
        if use is None:
            return None
        client, remote, dump = (tuple(map(text, words)) for words in (use.client, use.remote, use.dump))
        duties = {one.name: f"{one.duty}, epoch {one.epoch}" for one in self.assignment.databases}
        return ReplicationUse(
            text(use.dialect), client, remote, dump, text(use.user), use.accounts, use.max_lag, duties
        )

    def _unit(self, unit: Unit, scope: Scope) -> UnitUse:
        direct = self._direct(unit.direct, scope) if unit.direct else None
        name, service = self.role.text(unit.name, scope), self.role.text(unit.service, scope)
        return UnitUse(name, service, unit.action, direct, instance=unit.each is not None)

    def _direct(self, how: DirectCommands, scope: Scope) -> DirectUse:
        start = tuple(self.role.text(word, scope) for word in how.start)
        return DirectUse(self.role.text(how.pidfile, scope), start, how.reload, how.stop)


def _release(product: AssignedProduct) -> ReleaseUse:
    release = product.release
    return ReleaseUse(product.name, release.version, release.artifact, release.sha256, release.size,
                      product.release_folder, product.document_root, product.writable)  # fmt: skip
