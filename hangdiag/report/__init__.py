"""Reports: made from diagnoses alone, one form a module. A report computes nothing."""
