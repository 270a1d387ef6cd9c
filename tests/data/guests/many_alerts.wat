;; Returns a thousand alerts that all name one string of 32 KiB: 32 MiB for the host to copy.
(module
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
    (local $at i32)
    (drop (memory.grow (i32.const 2)))
    (memory.fill (i32.const 70000) (i32.const 120) (i32.const 32768))
    (i32.store (i32.const 1028) (i32.const 110000)) (i32.store (i32.const 1032) (i32.const 1000))
    (local.set $at (i32.const 110000))
    (loop $again
      (i32.store8 (local.get $at) (i32.const 3))
      (i32.store offset=12 (local.get $at) (i32.const 70000)) (i32.store offset=16 (local.get $at) (i32.const 32768))
      (local.set $at (i32.add (local.get $at) (i32.const 56)))
      (br_if $again (i32.lt_u (local.get $at) (i32.const 166000))))
    (i32.const 1024)))
