"""Making a machine or an image into one of the fleet, and finding what no image may have."""
