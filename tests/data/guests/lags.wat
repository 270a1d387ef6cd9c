;; Asks for topic-lags, and raises as many alerts as there are rows, each with the lag as its value.
(module
  (import "brokerwarden:rule/snapshot@0.1.0" "topic-lags" (func $lags (param i32 i32 i32 i32 i32 i64 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
      (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))
  ;; context: now-ms, interval-ms, rule, cluster, config. Returns where result<outcome, failure> is.
  (func (export "brokerwarden:rule/evaluator@0.1.0#evaluate")
    (param $now i64) (param $interval i64) (param i32 i32) (param i32 i32) (param $config i32) (param $config_len i32)
    (result i32)
    (local $rows i32) (local $left i32) (local $at i32)
    ;; no patterns, no min-lag, offset 0, limit 0
    (call $lags (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
    ;; err(error::unavailable) -> failure::unavailable with its text
    (if (i32.load8_u (i32.const 64)) (then
      (i32.store8 (i32.const 1024) (i32.const 1))
      (i32.store (i32.const 1032) (i32.load (i32.const 72))) (i32.store (i32.const 1036) (i32.load (i32.const 76)))
      (return (i32.const 1024))))
    (local.set $rows (i32.load (i32.const 68))) (local.set $left (i32.load (i32.const 72)))
    (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (local.get $left))
    (local.set $at (i32.const 2048))
    (block $done (loop $again
      (br_if $done (i32.eqz (local.get $left)))
      ;; subject group, name = topic, value = option lag
      (i64.store offset=4 align=4 (local.get $at) (i64.load align=4 (local.get $rows)))
      (i64.store offset=12 align=4 (local.get $at) (i64.load offset=8 align=4 (local.get $rows)))
      (i32.store8 offset=40 (local.get $at) (i32.load8_u offset=16 (local.get $rows)))
      (f64.store offset=48 (local.get $at) (f64.convert_i64_s (i64.load offset=24 (local.get $rows))))
      (local.set $rows (i32.add (local.get $rows) (i32.const 88)))
      (local.set $at (i32.add (local.get $at) (i32.const 56)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $again)))
    (i32.const 1024)))
