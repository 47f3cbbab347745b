"""Networks: anything with named `stages` that calls `after_stage(name, features)` after each of them."""
