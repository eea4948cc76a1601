"""What connector tests stand on: runtimes to script, contracts, fakes, faults, a clock."""
