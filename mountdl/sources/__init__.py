"""Where bytes come from: one package a protocol, all behind the protocols in `base`."""
