"""A GitHub in a box: stateful, over real HTTP, with fault switches. The demo and the tests use the same one."""
