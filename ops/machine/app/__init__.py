"""An application's image tried against the contract, in containers that go with the trial."""
