export function one(a: usize): f32 { const v: f32 = "x"; ; v128.store(a, v); return f32x4.extract_lane(v, 0); }
