"""Notices about products, to those who keep them."""

from app.core.database import SystemSession
from app.core.permissions import Permission
from app.services.notifications.inbox.notices import Fact, Notice, Words, in_both, notices_for
from app.services.products.events import ProductOutOfStock, ProductStockLow


@notices_for(ProductStockLow, ProductOutOfStock)
async def stock_notices(session: SystemSession, fact: Fact) -> list[Notice]:  # noqa: ARG001 - all is said
    """To whoever may change products."""
    name, left = fact.data["name"], fact.data["available"]
    is_out = fact.type == ProductOutOfStock.type
    if is_out:
        words = in_both(
            Words(
                f"Rupture de stock : {name}", "Il n'en reste plus. Réapprovisionnez-le.", "Voir le produit"
            ),
            Words(f"Out of stock: {name}", "There is none left. Restock it.", "See the product"),
        )
    else:
        words = in_both(
            Words(f"Stock faible : {name}", f"Il en reste {left}.", "Voir le produit"),
            Words(f"Low stock: {name}", f"There are {left} left.", "See the product"),
        )
    return [
        Notice(
            category="products",
            level="error" if is_out else "warning",
            words=words,
            holders=Permission.products_write,
            organization_id=fact.organization,
            path=f"/products/{fact.data['product_id']}",
            mail="as_category",
            ids={"product_id": fact.data["product_id"]},
        )
    ]
