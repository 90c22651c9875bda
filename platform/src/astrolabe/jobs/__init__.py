"""UWS jobs: model, store, queue, workers.  Knows no kind of job; the factory registers them."""
