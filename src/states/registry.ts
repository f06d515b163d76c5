import { cmdRun } from "./cmd/run.ts";
import { cmdWait } from "./cmd/wait.ts";
import { fileDirectory } from "./file/directory.ts";
import { fileManaged } from "./file/managed.ts";
import { fsFormatted } from "./fs/formatted.ts";
import { loopAttached } from "./loop/attached.ts";
import { loopDetached } from "./loop/detached.ts";
import { luksClosed } from "./luks/closed.ts";
import { luksFormatted } from "./luks/formatted.ts";
import { luksKeyWiped } from "./luks/key-wiped.ts";
import { luksOpened } from "./luks/opened.ts";
import { lvmLvAbsent } from "./lvm/lv-absent.ts";
import { lvmLvInactive } from "./lvm/lv-inactive.ts";
import { lvmLvPresent } from "./lvm/lv-present.ts";
import { lvmPvPresent } from "./lvm/pv-present.ts";
import { lvmVgPresent } from "./lvm/vg-present.ts";
import { mountMounted } from "./mount/mounted.ts";
import { mountUnmounted } from "./mount/unmounted.ts";
import { serviceDead } from "./service/dead.ts";
import { serviceDisabled, serviceEnabled } from "./service/enabled.ts";
import { serviceRunning } from "./service/running.ts";
import type { AnyState } from "./state.ts";
import { testConfigurable } from "./test/configurable.ts";
import { testNop } from "./test/nop.ts";
import {
  testFailWithChanges,
  testFailWithoutChanges,
  testSucceedWithChanges,
  testSucceedWithoutChanges,
} from "./test/pretend.ts";
import { testShowNotification } from "./test/show-notification.ts";
import { volumeAbsent } from "./volume/absent.ts";
import { volumeRunning } from "./volume/running.ts";
import { volumeStopped } from "./volume/stopped.ts";

/** Every state that a minion can enforce, written out: one line a state, by name. */
export const STATES: readonly AnyState[] = [
  cmdRun,
  cmdWait,
  fileDirectory,
  fileManaged,
  fsFormatted,
  loopAttached,
  loopDetached,
  luksClosed,
  luksFormatted,
  luksKeyWiped,
  luksOpened,
  lvmLvAbsent,
  lvmLvInactive,
  lvmLvPresent,
  lvmPvPresent,
  lvmVgPresent,
  mountMounted,
  mountUnmounted,
  serviceDead,
  serviceDisabled,
  serviceEnabled,
  serviceRunning,
  testConfigurable,
  testFailWithChanges,
  testFailWithoutChanges,
  testNop,
  testShowNotification,
  testSucceedWithChanges,
  testSucceedWithoutChanges,
  volumeAbsent,
  volumeRunning,
  volumeStopped,
];
