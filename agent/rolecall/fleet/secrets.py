"""Secrets as the fleet document has them: by reference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Secret:
    """A reference to a value that only the node itself reads, and only when it writes the file that needs it."""

    product: str
    name: str
    reference: str

    @property
    def key(self) -> str:
        """`blog.DB_PASSWORD`: how messages and diffs name it."""
        return f"{self.product}.{self.name}"

    def __str__(self) -> str:
        """Refused: a template that joins a secret to other text would write this object's words, not the value."""
        raise TypeError(f"the secret {self.key} cannot be a part of another text: write it on its own")
