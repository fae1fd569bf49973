"""Everything that can go wrong at a named effect: it fails, the engine dies, the whole machine dies."""
