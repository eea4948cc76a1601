"""What a collection's schema says: validity, shapes, reductions; pure functions over documents."""
