"""What is wanted: settings, compose model, images, rendering, allocation, the release. Pure, but for reading the checkout."""
