"""How every published number is measured. Nothing in the product imports this package."""
