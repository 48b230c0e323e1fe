"""What may be said of labels and readers, with intervals: noise left, agreement, time, automation bias, calibration."""
