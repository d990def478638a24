# What the kit remembers: a directory for each update, by the digest of its identifier, and in it one for each
# step. Only LocalSystem and administrators get at them; a file is replaced whole, or appended to by lines.

$Base = Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'Innkeeper'
$Runs = Join-Path $Base 'runs'
$SystemSid = 'S-1-5-18'
$AdministratorsSid = 'S-1-5-32-544'
$KeptRuns = 32
# How long a worker may take to begin, in seconds: a guest that has just booted is slow.
$BeginSeconds = 300
$AgainSeconds = 30
$ReadBytes = 49152
# What is kept of a disk that fills in the middle of an update, for the update's last words.
$ReserveBytes = 524288

# Make a directory of LocalSystem's and the administrators' alone; anybody may make one in ProgramData, so one
# of somebody else's is refused.
function Protect-Folder([string] $Path) {
    $rules = New-Object System.Security.AccessControl.DirectorySecurity
    $rules.SetAccessRuleProtection($true, $false)
    $rules.SetOwner((New-Object System.Security.Principal.SecurityIdentifier $AdministratorsSid))
    foreach ($sid in $SystemSid, $AdministratorsSid) {
        $who = New-Object System.Security.Principal.SecurityIdentifier $sid
        $rule = New-Object System.Security.AccessControl.FileSystemAccessRule(
            $who, 'FullControl', 'ContainerInherit,ObjectInherit', 'None', 'Allow')
        $rules.AddAccessRule($rule)
    }
    if (-not [System.IO.Directory]::Exists($Path)) {
        [void][System.IO.Directory]::CreateDirectory($Path, $rules)
    }
    $attributes = [System.IO.File]::GetAttributes($Path)
    if ($attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        Stop-With "$Path leads elsewhere. Remove it."
    }
    $found = [System.IO.Directory]::GetAccessControl($Path)
    $owner = $found.GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    if ($owner -ne $SystemSid -and $owner -ne $AdministratorsSid) {
        Stop-With "$Path belongs to $owner, not to the system or its administrators. Remove it."
    }
    if (-not $found.AreAccessRulesProtected) { [System.IO.Directory]::SetAccessControl($Path, $rules) }
}

# Hold the kit's own lock while something is changed: a question that is asked twice begins nothing twice.
function Use-Lock([scriptblock] $Work) {
    # Names of its own: the work sees them too.
    $kitLock = $null
    for ($kitTry = 0; $null -eq $kitLock; $kitTry++) {
        try {
            $kitLock = [System.IO.File]::Open((Join-Path $Base 'lock'), 'OpenOrCreate', 'ReadWrite', 'None')
        } catch [System.IO.IOException] {
            if ($kitTry -ge 300) { Stop-With 'Another question to this guest takes too long.' }
            Start-Sleep -Milliseconds 100
        }
    }
    try { return & $Work } finally { $kitLock.Dispose() }
}

# Replace a file whole.
function Write-Whole([string] $Path, [byte[]] $Bytes) {
    $fresh = "$Path.new"
    $file = [System.IO.File]::Open($fresh, 'Create', 'Write', 'None')
    try {
        $file.Write($Bytes, 0, $Bytes.Length)
        $file.Flush($true)
    } finally {
        $file.Dispose()
    }
    if ([System.IO.File]::Exists($Path)) {
        [System.IO.File]::Replace($fresh, $Path, [NullString]::Value)
    } else {
        [System.IO.File]::Move($fresh, $Path)
    }
}

function Write-Object([string] $Path, $Value) {
    Write-Whole $Path ([System.Text.Encoding]::ASCII.GetBytes((Format-Json $Value)))
}

# Return what a file of ours says, or nothing where there is none, or none that can be read.
function Read-Object([string] $Path) {
    if (-not [System.IO.File]::Exists($Path)) { return $null }
    try { return ConvertFrom-Json ([System.IO.File]::ReadAllText($Path)) } catch { return $null }
}

function Get-Digest([string] $Text) {
    $sha = [System.Security.Cryptography.SHA256]::Create()
    try { $bytes = $sha.ComputeHash([System.Text.Encoding]::UTF8.GetBytes($Text)) } finally { $sha.Dispose() }
    return [System.BitConverter]::ToString($bytes).Replace('-', '').ToLowerInvariant().Substring(0, 32)
}

# Return the directory of an update's step. The identifier is anyone's word, and no word becomes a path.
function Get-RunFolder([string] $Identifier, [string] $Step) {
    return Join-Path (Join-Path $Runs (Get-Digest $Identifier)) $Step
}

function Get-Request([string] $Folder) {
    return Read-Object (Join-Path $Folder 'request')
}

# Write down what a worker is to do; what the same step did before is forgotten.
function New-Run([string] $Folder, $Request, [byte[]] $Context) {
    if ([System.IO.Directory]::Exists($Folder)) { [System.IO.Directory]::Delete($Folder, $true) }
    [void][System.IO.Directory]::CreateDirectory($Folder)
    Save-Room $Folder
    Write-Whole (Join-Path $Folder 'context') $Context
    Write-Object (Join-Path $Folder 'request') $Request
}

# Keep room: of random bytes, which no volume compresses.
function Save-Room([string] $Folder) {
    $bytes = [byte[]]::new($ReserveBytes)
    (New-Object System.Random).NextBytes($bytes)
    $path = Join-Path $Folder 'reserve'
    try { Write-Whole $path $bytes } catch [System.IO.IOException] { [System.IO.File]::Delete("$path.new") }
}

# Remove the oldest updates, but for those that are at work.
function Remove-OldRuns {
    $all = @(Get-ChildItem -LiteralPath $Runs -Directory | Sort-Object LastWriteTimeUtc -Descending)
    foreach ($one in @($all | Select-Object -Skip $KeptRuns)) {
        $busy = @('prepare', 'update' | Where-Object { Test-Held (Join-Path $one.FullName $_) })
        if ($busy.Count -eq 0) { [System.IO.Directory]::Delete($one.FullName, $true) }
    }
}

# Begin a worker that outlives this program and qemu-guest-agent: a task of the Task Scheduler's.
function Start-Worker([string] $Folder) {
    $escaped = [System.Security.SecurityElement]::Escape(
        "-NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$PSCommandPath`" work `"$Folder`"")
    $program = [System.Security.SecurityElement]::Escape($PowerShellPath)
    $definition = @"
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>An update that Innkeeper has begun</Description></RegistrationInfo>
  <Principals><Principal id="System"><UserId>$SystemSid</UserId><RunLevel>HighestAvailable</RunLevel></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="System"><Exec><Command>$program</Command><Arguments>$escaped</Arguments></Exec></Actions>
</Task>
"@
    $name = Get-WorkerName $Folder
    [void](Register-ScheduledTask -TaskPath '\Innkeeper\' -TaskName $name -Xml $definition -Force)
    Start-ScheduledTask -TaskPath '\Innkeeper\' -TaskName $name
}

function Get-WorkerName([string] $Folder) {
    return 'update-' + (Get-Digest $Folder)
}

# Whether a worker is at it: it holds its lock to its end, and Windows lets go of it with the process.
function Test-Held([string] $Folder) {
    $path = Join-Path $Folder 'lock'
    if (-not [System.IO.File]::Exists($path)) { return $false }
    try {
        [System.IO.File]::Open($path, 'Open', 'ReadWrite', 'None').Dispose()
        return $false
    } catch [System.IO.IOException] {
        return $true
    }
}

# Append one event; on a full disk once more, into the room that was kept. Progress alone may be lost.
function Write-Event([string] $Folder, $Told) {
    $line = (Format-Json $Told) + "`n"
    try {
        Add-Line $Folder $line
    } catch [System.IO.IOException] {
        if ($null -ne $Told.status -or $null -ne $Told.output) { return }
        [System.IO.File]::Delete((Join-Path $Folder 'reserve'))
        # Half a line may be there; ended, it is one that nobody can read.
        Add-Line $Folder "`n$line"
    }
}

function Add-Line([string] $Folder, [string] $Line) {
    $bytes = [System.Text.Encoding]::ASCII.GetBytes($Line)
    $file = [System.IO.File]::Open((Join-Path $Folder 'events'), 'Append', 'Write', 'ReadWrite')
    try {
        $file.Write($bytes, 0, $bytes.Length)
        $file.Flush($true)
    } finally {
        $file.Dispose()
    }
}

# Return the whole events since an offset, and the next offset.
function Read-Events([string] $Folder, [long] $Offset, [int] $Most) {
    $answer = @{ events = (New-Object System.Collections.ArrayList); offset = $Offset }
    $path = Join-Path $Folder 'events'
    if (-not [System.IO.File]::Exists($path)) { return $answer }
    $file = [System.IO.File]::Open($path, 'Open', 'Read', 'ReadWrite')
    try {
        $room = [math]::Min([long]$Most, [math]::Max([long]0, $file.Length - $Offset))
        $bytes = [byte[]]::new([int]$room)
        [void]$file.Seek($Offset, 'Begin')
        $count = $file.Read($bytes, 0, $bytes.Length)
    } finally {
        $file.Dispose()
    }
    $text = [System.Text.Encoding]::ASCII.GetString($bytes, 0, $count)
    $whole = $text.Substring(0, $text.LastIndexOf("`n") + 1)
    foreach ($line in $whole.Split("`n")) {
        if ($line) { try { [void]$answer.events.Add((ConvertFrom-Json $line)) } catch { continue } }
    }
    $answer.offset = $Offset + $whole.Length
    return $answer
}
