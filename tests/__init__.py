"""Tests of the harness itself: each module mirrors a package, and each guard is shown to fail on a planted defect."""
