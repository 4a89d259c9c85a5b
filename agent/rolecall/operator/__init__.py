"""What a person does with the fleet document on a machine of their own: no node is needed."""
