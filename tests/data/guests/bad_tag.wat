;; Returns a result that is neither ok nor err.
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
    (i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)))
