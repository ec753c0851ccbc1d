const FOLDER = new URL('./torch/', import.meta.url).pathname

const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }

function has(python: string, modules: readonly string[]): boolean {
  const code = `import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in ${JSON.stringify(modules)}))`
  try {
    return Bun.spawnSync([python, '-c', code], { env }).exitCode === 0
  } catch {
    return false
  }
}

/**
 * A Python that has these modules: RNB_TORCH_PYTHON, or else python3. None is needed to use rnb or to run its tests, so
 * tests that want one are skipped without it, and say so here.
 */
export function findPython(what: string, modules: readonly string[]): string | undefined {
  const tried = process.env.RNB_TORCH_PYTHON || 'python3'
  if (has(tried, modules)) return tried
  console.warn(
    `skipped: ${what}: ${tried} has not all of ${modules.join(', ')} (RNB_TORCH_PYTHON names another)`,
  )
  return undefined
}

/** Runs a script of test/models/torch, and reads the JSON that it prints. */
export function runPython<Result>(python: string, script: string, ...args: (string | number)[]): Result {
  const command = [python, `${FOLDER}${script}`, ...args.map(String)]
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { env })
  if (exitCode !== 0) throw new Error(`${script}: ${stderr.toString()}`)
  return JSON.parse(stdout.toString()) as Result
}
