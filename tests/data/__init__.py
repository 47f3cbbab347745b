"""Tests of sshpe_lib.data."""
