"""What is written in role.toml and its templates, worked out for one node. Mistakes are collected, not raised."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rolecall.forms.mistakes import Mistake
from rolecall.render.role import Role
from rolecall.render.templating import TROUBLE, environment, place_of

Scope = Mapping[str, Any]


class Expressions:
    """A role's texts. `context` is what all of them see; what is made for each product or cache sees that one too."""

    def __init__(self, role: Role, context: dict[str, Any]) -> None:
        self.role, self.context, self.mistakes = role, context, list[Mistake]()
        self.strict, self.plain = environment(role), environment(role, quoted=False)

    def true(self, expression: str, scope: Scope) -> bool:
        """Whether a condition holds; none always does."""
        if not expression:
            return True
        compiled = functools.partial(self.plain.compile_expression, expression, undefined_to_none=False)
        return bool(self.guard("role.toml", lambda: bool(compiled()(**scope)), expression))

    def text(self, template: str, scope: Scope | None = None) -> str:
        """A single value of role.toml."""
        work = functools.partial(self.plain.from_string, template)
        return str(self.guard("role.toml", lambda: work().render(scope or self.context), template))

    def maybe(self, template: str | None) -> str | None:
        """The same, where it may be absent."""
        return None if template is None else self.text(template)

    def config(self, template: str | None) -> str | None:
        """A value of role.toml that is a configuration file itself: what is written into it has to be quoted."""
        if template is None:
            return None
        return str(self.guard("role.toml", lambda: self.strict.from_string(template).render(self.context), template))

    def file(self, source: str, scope: Scope) -> str:
        """A template beside role.toml."""
        return self.rendered(source, lambda: self.strict.get_template(source).render(scope))

    def rendered(self, source: str, work: Callable[[], str]) -> str:
        """What a template gives; `source` is its name in messages."""
        return str(self.guard(source, work))

    def guard(self, source: str, work: Callable[[], Any], value: str = "") -> Any:
        """Run a template; what goes wrong is collected, with the template's line or the value of role.toml."""
        try:
            return work()
        except TROUBLE as error:
            at = source if value else place_of(error, source)
            words = (str(error) or type(error).__name__) + (f", in {value!r}" if value else "")
            self.mistakes.append(Mistake((f"{self.role.name}/{at}",), words))
            return ""
