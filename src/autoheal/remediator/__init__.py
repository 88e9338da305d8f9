"""Routes and pages of :9009."""
