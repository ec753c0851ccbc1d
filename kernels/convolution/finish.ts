import { four, type Lines, pointer, range } from './text.ts'
import { type Arithmetic, elementBytes } from './tile.ts'

/** Bits of `flags`. */
export const RELU = 1
/** Sums of a part of the depth go to `output` as they are, in float32. */
export const PARTIAL = 2

/** Registers of `finish`. */
export const FINISH_REGISTERS = [
  '.reg .pred  %relu, %added',
  '.reg .b16   %low, %high',
  '.reg .b32   %r<4>',
  '.reg .f32   %v<8>, %z<8>',
  '.reg .b64   %bias, %residual, %output, %where',
]

/** Loads what `finish` needs to know of the launch. */
export const finishSetup: Lines = [
  pointer('bias'),
  pointer('residual'),
  pointer('output'),
  'ld.param.u64 %where, [p_residual]',
  'setp.ne.u64 %added, %where, 0',
  `and.b32 %r0, %flags, ${RELU}`,
  'setp.ne.u32 %relu, %r0, 0',
]

/**
 * The sums of eight channels in %v0..7 -> output: bias and residual added, ReLU, rounded, stored as whole pieces.
 * %index: of the first, in elements of the output. %n: its channel. `unique` makes its labels so.
 */
export function finish(arithmetic: Arithmetic): Lines {
  const bytes = elementBytes(arithmetic)
  const pairs = range(4)
  const residual =
    bytes === 2
      ? [
          `ld.global.v4.b32 ${four('r', 0)}, [%where]`,
          pairs.map(i => [
            `mov.b32 {%low, %high}, %r${i}`,
            `cvt.f32.f16 %z${2 * i}, %low`,
            `cvt.f32.f16 %z${2 * i + 1}, %high`,
          ]),
        ]
      : [`ld.global.v4.f32 ${four('z', 0)}, [%where]`, `ld.global.v4.f32 ${four('z', 4)}, [%where+16]`]
  const store =
    bytes === 2
      ? [
          '// The first operand goes to the upper half.',
          pairs.map(i => `cvt.rn.f16x2.f32 %r${i}, %v${2 * i + 1}, %v${2 * i}`),
          `st.global.v4.b32 [%where], ${four('r', 0)}`,
        ]
      : [`st.global.v4.f32 [%where], ${four('v', 0)}`, `st.global.v4.f32 [%where+16], ${four('v', 4)}`]
  return [
    'mul.wide.u32 %where, %n, 4',
    'add.s64 %where, %where, %bias',
    `ld.global.v4.f32 ${four('z', 0)}, [%where]`,
    `ld.global.v4.f32 ${four('z', 4)}, [%where+16]`,
    range(8).map(i => `add.f32 %v${i}, %v${i}, %z${i}`),
    `shl.b64 %index, %index, ${bytes === 2 ? 1 : 2}`,
    '@!%added bra ADDED',
    'add.s64 %where, %index, %residual',
    residual,
    range(8).map(i => `add.f32 %v${i}, %v${i}, %z${i}`),
    'ADDED:',
    '@!%relu bra CLIPPED',
    '// NaN stays NaN: what nothing wrote must show.',
    range(8).map(i => `max.NaN.f32 %v${i}, %v${i}, 0f00000000`),
    'CLIPPED:',
    'add.s64 %where, %index, %output',
    store,
  ]
}
