import { mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { LabHost, type LabHostOptions } from "./host.ts";
import { ensureImage } from "./image.ts";
import { kernelLine, labKernel, type LabKernel } from "./kernel.ts";
import { LabMaster, type LabMasterOptions } from "./master.ts";
import { LabNetwork } from "./network.ts";
import { ensurePackages, LAB_PACKAGES } from "./packages.ts";
import { makeProductDisk } from "./product-disk.ts";
import { makeScratch } from "./scratch.ts";

export type HostChoices = Omit<LabHostOptions, "name" | "directory" | "network" | "kernel" | "image" | "productDisk">;

/** A lab: a network of its own with a master and hosts in it, and one place to end it all. */
export class Lab {
  readonly directory: string;
  readonly network: LabNetwork;
  readonly #kernel: LabKernel;
  readonly #image: string;
  readonly #productDisk: string;
  readonly #hosts: LabHost[] = [];
  readonly #masters: LabMaster[] = [];

  private constructor(
    directory: string,
    network: LabNetwork,
    parts: { readonly kernel: LabKernel; readonly image: string; readonly productDisk: string },
  ) {
    this.directory = directory;
    this.network = network;
    this.#kernel = parts.kernel;
    this.#image = parts.image;
    this.#productDisk = parts.productDisk;
  }

  /** Installs, builds and makes what a lab needs (a minute or two the first time; `say` tells what it does). */
  static async create(say: (line: string) => void): Promise<Lab> {
    await ensurePackages(LAB_PACKAGES, say);
    const kernel = await labKernel(say);
    say(kernelLine(kernel));
    const image = await ensureImage(kernel, say);
    const directory = makeScratch();
    const productDisk = await makeProductDisk(directory, say);
    return new Lab(directory, await LabNetwork.create(), { kernel, image, productDisk });
  }

  /** A new host, switched off, its data disk blank. */
  async addHost(name: string, choices: HostChoices = {}): Promise<LabHost> {
    const directory = join(this.directory, name);
    mkdirSync(directory);
    const host = await LabHost.create({
      ...choices,
      name,
      directory,
      network: this.network,
      kernel: this.#kernel,
      image: this.#image,
      productDisk: this.#productDisk,
    });
    this.#hosts.push(host);
    return host;
  }

  /** A master with a state directory of its own, switched off. */
  addMaster(options: LabMasterOptions): LabMaster {
    const directory = join(this.directory, `master${this.#masters.length + 1}`);
    mkdirSync(directory);
    const master = new LabMaster(directory, this.network, options);
    this.#masters.push(master);
    return master;
  }

  /** Ends everything that runs in the lab and removes every trace of it, logs included. */
  async destroy(): Promise<void> {
    for (const part of [...this.#hosts, ...this.#masters]) await part.destroy();
    await this.network.destroy();
    rmSync(dirname(this.directory), { recursive: true, force: true });
  }
}
