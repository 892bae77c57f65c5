import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more reaches the disk, not even the journal. */
const shutdownRequest = 0x8004587d;
const noLogFlush = 2;

/** Node has no ioctl; these have. $ARGV and sys.argv: directory, request, flags. */
const ioctlPrograms: readonly (readonly [string, ...string[]])[] = [
  [
    'python3',
    '-c',
    'import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1],os.O_RDONLY),int(sys.argv[2]),struct.pack("I",int(sys.argv[3])))',
  ],
  ['perl', '-e', 'sysopen(D,$ARGV[0],0) or die; my $f=pack("I",$ARGV[2]); defined(ioctl(D,$ARGV[1]+0,$f)) or die "$!"'],
];

/** This machine does not allow it; the message says why. */
export class NoLoopDiskError extends Error {
  override readonly name = 'NoLoopDiskError';
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

function ioctlProgram(): readonly [string, ...string[]] {
  const found = ioctlPrograms.find(([name]) => spawnSync(name, ['--version']).status === 0);
  if (found === undefined) throw new NoLoopDiskError('neither python3 nor perl is there to call ioctl');
  return found;
}

/**
 * An ext4 file system in an image file, whose power can be cut: what was not synced then is gone, as after a power failure of a
 * disk that keeps its promises.
 */
export class LoopDisk {
  readonly path: string;
  private readonly root: string;
  private readonly image: string;
  private readonly program: readonly [string, ...string[]];
  private mounted = false;
  private readonly onExit = (): void => this.destroy();

  private constructor(root: string, program: readonly [string, ...string[]]) {
    this.root = root;
    this.path = join(root, 'mounted');
    this.image = join(root, 'image');
    this.program = program;
    process.once('exit', this.onExit);
  }

  /** @throws NoLoopDiskError where the machine has no root, no loop devices or no tools for it */
  static create(bytes: number): LoopDisk {
    if (process.platform !== 'linux') throw new NoLoopDiskError('this is not Linux');
    if (process.getuid?.() !== 0) throw new NoLoopDiskError('only root may mount');
    if (!existsSync('/dev/loop-control')) throw new NoLoopDiskError('there are no loop devices');
    const disk = new LoopDisk(mkdtempSync(join(tmpdir(), 'skerry-disk-')), ioctlProgram());
    try {
      mkdirSync(disk.path);
      writeFileSync(disk.image, '');
      truncateSync(disk.image, bytes);
      run('mkfs.ext4', '-q', disk.image);
      disk.mount();
    } catch (error) {
      disk.destroy();
      throw new NoLoopDiskError('an image file cannot be mounted', { cause: error });
    }
    return disk;
  }

  /** From this moment every write and sync fails, and what was not synced is lost. */
  cutPower(): void {
    const [command, ...args] = this.program;
    run(command, ...args, this.path, String(shutdownRequest), String(noLogFlush));
  }

  /** The power is back. Nothing may have a file open on it. */
  restorePower(): void {
    run('umount', this.path);
    this.mounted = false;
    this.mount();
  }

  /** Idempotent. */
  destroy(): void {
    process.removeListener('exit', this.onExit);
    // Lazily: whoever still has a file open must not keep it from going away.
    if (this.mounted) run('umount', '--lazy', this.path);
    this.mounted = false;
    rmSync(this.root, { recursive: true, force: true });
  }

  /** The loop device goes with the mount. commit: the journal is not written every five seconds without being asked. */
  private mount(): void {
    run('mount', '-t', 'ext4', '-o', 'loop,commit=300', this.image, this.path);
    this.mounted = true;
  }
}
