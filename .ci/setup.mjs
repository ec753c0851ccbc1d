// Sets up a fresh clone with Node and npm alone: the locked packages, Bun's executable, libav from the distribution.
// Run as `node .ci/setup.mjs`; does nothing that is done already.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const say = line => console.error(`setup: ${line}`)
const run = (command, args, env = {}) =>
  execFileSync(command, args, { stdio: ['ignore', 2, 2], env: { ...process.env, ...env } })

function installPackages() {
  const stamp = 'node_modules/.rnb-lock'
  const lock = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('installing the locked npm packages')
  // Install scripts stay off: onnxruntime-node's would fetch CUDA libraries. Bun's own only links its executable.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { ONNXRUNTIME_NODE_INSTALL: 'skip' })
  run(process.execPath, ['node_modules/bun/install.js'])
  writeFileSync(stamp, lock)
}

const hasLibav = () =>
  process.env.RNB_LIBAV_DIR !== undefined ||
  /libavformat\.so\.(5[89]|6[0-2])\b/.test(
    spawnSync('ldconfig', ['-p'], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` },
    }).stdout ?? '',
  )

function installLibav() {
  if (hasLibav()) return
  const root = process.getuid?.() === 0
  const sudo = root ? [] : ['sudo', '-n']
  const works = root || spawnSync('sudo', ['-n', 'true']).status === 0
  const hint =
    'rnb decodes on the CPU with FFmpeg\'s libraries: install them with "apt install ffmpeg", or set RNB_LIBAV_DIR'
  if (!works || spawnSync('apt-get', ['--version']).status !== 0) {
    say(`libavformat is missing and cannot be installed from here. ${hint}`)
    return
  }
  say('installing libavformat and libavcodec from the distribution')
  const apt = (...args) =>
    run(
      ...(argv => [argv[0], argv.slice(1)])([
        ...sudo,
        'env',
        'DEBIAN_FRONTEND=noninteractive',
        'apt-get',
        ...args,
      ]),
    )
  try {
    apt('update', '-q')
    const found = execFileSync('apt-cache', ['pkgnames', 'libavformat'], { encoding: 'utf8' }).split('\n')
    const newest = found
      .filter(name => /^libavformat(5[89]|6[0-2])$/.test(name))
      .sort()
      .at(-1)
    apt('install', '-y', '-q', '--no-install-recommends', newest ?? 'ffmpeg')
  } catch (error) {
    say(`${error.message}. ${hint}`)
  }
}

installPackages()
installLibav()
