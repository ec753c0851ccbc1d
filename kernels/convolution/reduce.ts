import { FINISH_REGISTERS, finish, finishSetup, RELU } from './finish.ts'
import { entry, header, type Lines, parameter, pointer, range, write } from './text.ts'
import { type Arithmetic, elementBytes } from './tile.ts'

/** The entry of what `reducePtx` writes. */
export const REDUCE = 'reduce'

/** Parameters of `reduce` in order. */
export const REDUCE_PARAMETERS = {
  sums: 'pointer',
  bias: 'pointer',
  residual: 'pointer',
  output: 'pointer',
  groups: 'u32',
  groupsOfPlace: 'u32',
  parts: 'u32',
  flags: 'u32',
} as const

/** Threads of a block of `reduce`, each with eight channels of a place. */
export const REDUCE_BLOCK = 256

/** Joins what parts of the depth summed. */
export function reducePtx(arithmetic: Arithmetic): string {
  const body: Lines = [
    '.reg .pred  %outside, %more',
    '.reg .b32   %t, %i, %n, %groups, %groupsOfPlace, %parts, %flags',
    '.reg .b64   %sums, %index, %from, %step',
    FINISH_REGISTERS,
    '',
    '// 1. Which eight channels of which place.',
    'mov.u32 %t, %ctaid.x',
    'mov.u32 %i, %tid.x',
    `mad.lo.u32 %i, %t, ${REDUCE_BLOCK}, %i`,
    parameter('groups'),
    parameter('groupsOfPlace'),
    parameter('parts'),
    parameter('flags'),
    'setp.ge.u32 %outside, %i, %groups',
    '@%outside ret',
    'div.u32 %t, %i, %groupsOfPlace',
    'mul.lo.u32 %t, %t, %groupsOfPlace',
    'sub.u32 %n, %i, %t',
    'shl.b32 %n, %n, 3',
    pointer('sums'),
    finishSetup,
    '',
    '// 2. Their sums, in the order of the parts.',
    'mul.wide.u32 %from, %i, 32',
    'add.s64 %from, %from, %sums',
    'mul.wide.u32 %step, %groups, 32',
    range(8).map(i => `mov.f32 %v${i}, 0f00000000`),
    'PART:',
    'ld.global.v4.f32 {%z0, %z1, %z2, %z3}, [%from]',
    'ld.global.v4.f32 {%z4, %z5, %z6, %z7}, [%from+16]',
    range(8).map(i => `add.f32 %v${i}, %v${i}, %z${i}`),
    'add.s64 %from, %from, %step',
    'sub.u32 %parts, %parts, 1',
    'setp.ne.u32 %more, %parts, 0',
    '@%more bra PART',
    '',
    '// 3. Bias and the rest.',
    'mul.wide.u32 %index, %i, 8',
    finish(arithmetic),
    'ret',
  ]
  const comment = `// reduce: joins what parts of the depth summed, ${elementBytes(arithmetic) === 2 ? 'float16' : 'float32'}; written by kernels/convolution.
//
// Contract
//   output[place, n] = act(sum over parts of sums[part, place, n] + bias[n] + residual[place, n]), in float32 and in
//   the order of parts; act is ReLU if flag ${RELU} is set.
//   Grid (ceil(groups / ${REDUCE_BLOCK}), 1, 1), block (${REDUCE_BLOCK}, 1, 1): a thread makes 8 channels of a place.
//   Every element of the output is written; nothing else is.
//
// Parameters
//   sums in float32; bias in float32, residual (0: none), output; groups of eight channels in all, and of a place; parts;
//   flags
`
  return `${header(comment)}
${entry(REDUCE, REDUCE_PARAMETERS, REDUCE_BLOCK)}
{
${write(body)}
}
`
}
