"""Flip test, OKS, COCO results and average precision."""
