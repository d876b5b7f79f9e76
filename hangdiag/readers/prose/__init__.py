"""What people write themselves: stacks with arrows between the functions, who they are of, the host's release."""
