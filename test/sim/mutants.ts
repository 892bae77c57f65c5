/** A bug to plant, as a change of one compiled file, which the simulator must find. The product has no switch for it. */
export interface SimMutant {
  readonly name: string;
  readonly area: 'core' | 'durability' | 'routing' | 'sessions' | 'reads' | 'membership' | 'merge';
  /** Below the folder of compiled files. */
  readonly file: string;
  /** Occurs exactly once in it. */
  readonly find: string;
  readonly replace: string;
  readonly about: string;
}

export const simMutants: readonly SimMutant[] = [
  {
    name: 'vote-for-any-log',
    area: 'core',
    file: 'src/raft/election.js',
    find: 'const granted = free && core.log.isUpToDate(m.index, m.logTerm);',
    replace: 'const granted = free;',
    about: 'a vote goes to a candidate whose log lacks committed entries (Raft §5.4.1)',
  },
  {
    name: 'minority-commits',
    area: 'core',
    file: 'src/raft/commit.js',
    find: 'leadership.peers.quorumMatch()',
    replace: 'core.log.lastIndex()',
    about: 'a leader commits what only it has (Raft §5.3)',
  },
  {
    name: 'acknowledge-before-sync',
    area: 'durability',
    file: 'src/multiraft/log_writer.js',
    find: 'this.host.log.write(records).then(() => this.onSynced(batch), (error) => this.host.fail(error));',
    replace: 'this.host.log.write(records).catch((error) => this.host.fail(error)); this.onSynced(batch);',
    about: 'votes and entries count before they are on disk (INV-20)',
  },
  {
    name: 'forget-applied-sequences',
    area: 'sessions',
    file: 'store/session_table.js',
    find: "if (find(session.applied, sequence).found)\n            return 'duplicate';",
    replace: '',
    about: 'a retried write takes effect again (INV-44)',
  },
  {
    name: 'write-outside-the-shard',
    area: 'routing',
    file: 'store/shard_state_machine.js',
    find: 'if (!this.keys.contains(engineKey))',
    replace: 'if (engineKey.length === 0)',
    about: 'a write that was proposed before a split is applied by the shard that lost its key (INV-45)',
  },
  {
    name: 'read-without-asking',
    area: 'reads',
    file: 'store/read_gatherer.js',
    find: 'group.readIndex((failure) => {',
    replace: 'void Promise.resolve(null).then((failure) => {',
    about: 'a replica answers a linearizable read from what it has (thesis §6.4)',
  },
  {
    name: 'merge-without-the-rows-of-the-source',
    area: 'merge',
    file: 'store/shard_state_machine.js',
    find: 'buryReplica(ctx.batch, source.shard, source.replicaId);',
    replace:
      'ctx.batch.deleteRange(source.keys.start, source.keys.end); buryReplica(ctx.batch, source.shard, source.replicaId);',
    about: 'the end of a source takes rows along that its target has now (INV-46)',
  },
  // Bugs that the simulator found, put back.
  {
    name: 'wait-for-a-store-that-is-down',
    area: 'membership',
    file: 'placement/operators/step.js',
    find: "return view.isDown(storeId) ? broken(`store ${storeId} is down`) : wait('the learner is catching up');",
    replace: "return wait('the learner is catching up');",
    about: 'a move to a store that went down holds its shard for a quarter of an hour',
  },
  {
    name: 'silent-tombstone',
    area: 'membership',
    file: 'store/replicas.js',
    find: 'present.wantedAtMs = this.runtime.nowMs();',
    replace: '',
    about: 'nobody learns that a member of a shard was destroyed on an old view of its configuration',
  },
];

export function findMutant(name: string): SimMutant | undefined {
  return simMutants.find((mutant) => mutant.name === name);
}
