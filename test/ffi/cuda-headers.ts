import { type FFIFunction, FFIType } from 'bun:ffi'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipFolders, toolkitFolders } from '../../ffi/cuda/folders.ts'

/** What a header says of functions and constants. */
export interface HeaderFacts {
  /** Kinds of the arguments and then of the result: `p` a pointer, else signedness, bytes, `f` for floating point. */
  signatures: Record<string, string>
  constants: Record<string, number>
  sizes: Record<string, number>
}

/** Folders of headers beside the folders of libraries that are known. */
const includeFolders = (): string[] => [
  ...new Set(
    [...toolkitFolders(), ...pipFolders(['cudnn', 'cu13', 'cuda_runtime'])]
      .map(folder => join(dirname(folder), 'include'))
      .concat(process.env.RNB_TEST_CUDA_INCLUDE?.split(':') ?? [])
      .filter(folder => existsSync(folder)),
  ),
]

/** Whether g++ and this header are here; says so if not. */
export function haveHeader(header: string): boolean {
  const found = Bun.which('g++') !== null && includeFolders().some(f => readdirSync(f).includes(header))
  if (!found)
    console.warn(`skipped: comparison with ${header}: g++ or the header (RNB_TEST_CUDA_INCLUDE) is not here`)
  return found
}

const PROGRAM = `
#include <cstdio>
#include <cstddef>
#include <type_traits>
template <class T> void kind() {
  if constexpr (std::is_void_v<T>) printf("v");
  else if constexpr (std::is_pointer_v<T>) printf("p");
  else if constexpr (std::is_floating_point_v<T>) printf("f%zu", sizeof(T));
  else if constexpr (std::is_enum_v<T>) printf("i%zu", sizeof(T));
  else printf("%c%zu", std::is_signed_v<T> ? 'i' : 'u', sizeof(T));
}
template <class F> struct Signature;
template <class R, class... A> struct Signature<R (*)(A...)> {
  static void print() { (kind<A>(), ...); printf(">"); kind<R>(); }
};
template <class R, class... A> struct Signature<R (*)(A...) noexcept> : Signature<R (*)(A...)> {};
`

/**
 * Asks the header itself, with a program that g++ compiles. Nothing is linked: only declarations are looked at.
 * @param sizes - C expressions such as `sizeof(nvmlMemory_t)`, by name
 */
export function askHeader(
  headers: readonly string[],
  functions: readonly string[],
  constants: readonly string[] = [],
  sizes: Readonly<Record<string, string>> = {},
): HeaderFacts {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-headers-'))
  try {
    const lines = [
      ...functions.map(f => `printf("s ${f} "); Signature<decltype(&${f})>::print(); puts("");`),
      ...constants.map(c => `printf("c ${c} %lld\\n", (long long)${c});`),
      ...Object.entries(sizes).map(([name, c]) => `printf("z ${name} %lld\\n", (long long)(${c}));`),
    ]
    const includes = headers.map(header => `#include <${header}>`).join('\n')
    writeFileSync(join(folder, 'ask.cc'), `${includes}\n${PROGRAM}\nint main() {\n${lines.join('\n')}\n}\n`)
    const where = includeFolders().flatMap(f => ['-I', f])
    const command = ['g++', '-std=c++17', '-w', ...where, join(folder, 'ask.cc'), '-o', join(folder, 'ask')]
    const compiled = Bun.spawnSync(command)
    if (compiled.exitCode !== 0) throw new Error(`g++ failed: ${compiled.stderr.toString().slice(0, 4000)}`)
    const facts: HeaderFacts = { signatures: {}, constants: {}, sizes: {} }
    for (const line of Bun.spawnSync([join(folder, 'ask')])
      .stdout.toString()
      .trim()
      .split('\n')) {
      const [which, name, value] = line.split(' ') as [string, string, string]
      if (which === 's') facts.signatures[name] = value
      else (which === 'c' ? facts.constants : facts.sizes)[name] = Number(value)
    }
    return facts
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Kinds in the words of the header's program. */
const KINDS: Partial<Record<FFIType, string>> = {
  [FFIType.u8]: 'u1',
  [FFIType.i32]: 'i4',
  [FFIType.u32]: 'u4',
  [FFIType.i64_fast]: 'i8',
  [FFIType.u64]: 'u8',
  [FFIType.f32]: 'f4',
  [FFIType.ptr]: 'p',
  [FFIType.cstring]: 'p',
  [FFIType.void]: 'v',
}

/** A table's signature in the words of the header's program; device pointers are 64-bit integers in C. */
export function tableSignature({ args, returns }: FFIFunction, header: string): string {
  const kinds = (args ?? []).map(type => KINDS[type as FFIType])
  const declared = header.split('>')[0]!.match(/p|[iuf]\d/g) ?? []
  const same = kinds.map((kind, i) => (kind === 'p' && declared[i] === 'u8' ? 'u8' : kind))
  return `${same.join('')}>${KINDS[returns as FFIType]}`
}
