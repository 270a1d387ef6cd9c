//! An embedded cluster that misbehaves on a schedule.
