"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.one = one;
function one(a) { const v = f32x4.splat(1); v128.store(a, v); return f32x4.extract_lane(v, 0); }
