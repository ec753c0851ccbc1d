import { four, type Lines, range } from './text.ts'
import { type ConvolutionTile, PIECE, PIECES, ROW } from './tile.ts'

/** The sum that fragment `m` x `n` has in its register `i`. */
export const sum = ({ fragments }: ConvolutionTile, m: number, n: number, i: number): string =>
  `%c${(m * fragments[1] + n) * 4 + i}`

/** Multiplies one stage on tensor cores, in two steps of two pieces each. */
export function multiplyFragments(tile: ConvolutionTile): Lines {
  const [across, along] = tile.fragments
  const round = (of: string, from: number) =>
    tile.arithmetic === 'tf32'
      ? range(4).map(i => `cvt.rna.tf32.f32 %${of}${from + i}, %${of}${from + i}`)
      : []
  const shape =
    tile.arithmetic === 'f16' ? 'm16n8k16.row.col.f32.f16.f16.f32' : 'm16n8k8.row.col.f32.tf32.tf32.f32'
  const product = (m: number, n: number): string => {
    const sums = `{${range(4)
      .map(i => sum(tile, m, n, i))
      .join(', ')}}`
    const first = 2 * (n % 2)
    return `mma.sync.aligned.${shape} ${sums}, ${four('a', 4 * m)}, {%b${first}, %b${first + 1}}, ${sums}`
  }
  return range(2).map(step => [
    `// Pieces ${2 * step} and ${2 * step + 1} of the stage.`,
    `add.u32 %at, %reading, %laneA${step}`,
    range(across).map(m => [
      `ldmatrix.sync.aligned.m8n8.x4.shared.b16 ${four('a', 4 * m)}, [%at+${16 * ROW * m}]`,
      round('a', 4 * m),
    ]),
    `add.u32 %at, %reading, %laneB${step}`,
    range(along / 2).map(pair => [
      `ldmatrix.sync.aligned.m8n8.x4.shared.b16 ${four('b', 0)}, [%at+${16 * ROW * pair}]`,
      round('b', 0),
      range(2).map(n => range(across).map(m => product(m, 2 * pair + n))),
    ]),
  ])
}

/**
 * Multiplies one stage without tensor cores, piece by piece: a thread has the same sums as a fragment's would, at rows
 * g and g + 8 of each 16, and columns 2q and 2q + 1 of each 8.
 */
export function multiplyScalars(tile: ConvolutionTile): Lines {
  const [across, along] = tile.fragments
  return [
    'mov.u32 %piece, 0',
    'PIECE:',
    `shl.b32 %at, %piece, ${Math.log2(PIECE)}`,
    'xor.b32 %at, %at, %laneA0',
    'add.u32 %at, %at, %reading',
    range(2 * across).map(row => `ld.shared.v4.f32 ${four('a', 4 * row)}, [%at+${8 * ROW * row}]`),
    `shl.b32 %at, %piece, ${Math.log2(PIECE)}`,
    'xor.b32 %at, %at, %laneB0',
    'add.u32 %at, %at, %reading',
    range(along).map(n =>
      range(2).map(column => [
        `ld.shared.v4.f32 ${four('b', 0)}, [%at+${ROW * (8 * n + column)}]`,
        range(4).map(i =>
          range(2 * across).map(row => {
            const to = sum(tile, row >> 1, n, 2 * (row & 1) + column)
            return `fma.rn.f32 ${to}, %a${4 * row + i}, %b${i}, ${to}`
          }),
        ),
      ]),
    ),
    'add.u32 %piece, %piece, 1',
    `setp.lt.u32 %more, %piece, ${PIECES}`,
    '@%more bra PIECE',
  ]
}

/** Where a lane of a warp reads its fragments in a stage, before the warp's own rows. */
export function laneAddresses(tile: ConvolutionTile): Lines {
  const swizzle = ['shr.u32 %t, %lane, 1', 'and.b32 %t, %t, 3']
  if (tile.arithmetic === 'f32')
    return [
      '// Rows g and columns 2q of each fragment, for lane 4g + q; piece p of row r is at p ^ (r / 2 mod 4).',
      'shr.u32 %g, %lane, 2',
      'and.b32 %q, %lane, 3',
      'shr.u32 %t, %g, 1',
      'and.b32 %t, %t, 3',
      `shl.b32 %t, %t, ${Math.log2(PIECE)}`,
      `mad.lo.u32 %laneA0, %g, ${ROW}, %t`,
      `shl.b32 %t, %q, ${Math.log2(PIECE)}`,
      `mad.lo.u32 %laneB0, %q, ${2 * ROW}, %t`,
    ]
  return [
    '// Lane l gives ldmatrix the address of a row of 16 bytes: of places, row l mod 16 and piece l / 16; of',
    '// channels, row l mod 8 of the lower or (l >= 16) upper eight, and piece l / 8 mod 2. Piece p of row r is at',
    '// p ^ (r / 2 mod 4): eight rows of one piece are in different banks.',
    swizzle,
    'shr.u32 %u, %lane, 4',
    'xor.b32 %u, %u, %t',
    `shl.b32 %u, %u, ${Math.log2(PIECE)}`,
    'and.b32 %g, %lane, 15',
    `mad.lo.u32 %laneA0, %g, ${ROW}, %u`,
    'shr.u32 %u, %lane, 3',
    'and.b32 %u, %u, 1',
    'xor.b32 %u, %u, %t',
    `shl.b32 %u, %u, ${Math.log2(PIECE)}`,
    'and.b32 %g, %lane, 7',
    'shr.u32 %t, %lane, 4',
    'mad.lo.u32 %g, %t, 8, %g',
    `mad.lo.u32 %laneB0, %g, ${ROW}, %u`,
  ]
}
