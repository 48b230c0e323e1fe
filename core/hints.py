"""Shape annotations, through one door: jaxtyping where it is installed, plain strings where it is not.

The machine that trains may lack jaxtyping; annotations then mean nothing and cost nothing. Under pytest, jaxtyping
with beartype checks them. One-axis shapes are written with a leading space (`" stays"`).
"""

from typing import Any

try:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
except ImportError:

    class _Shape:
        """Stands in for jaxtyping's types: any subscript gives `Any`."""

        def __class_getitem__(cls, item: object) -> Any:
            return Any

    Bool = Float = Int = Shaped = UInt8 = _Shape  # type: ignore[assignment]

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt8"]
