# One step of an update, in a process of its own: "prepare" on the running guest before its undo point, and
# "update". Who holds no lock and has written no end has died.

# RDV_TASK_STATUS
$StatusSearching = 1
$StatusDownloading = 2
$StatusApplying = 3
$StatusSuccess = 6
$StatusFailed = 7
# Where downloading ends and installing begins, in percent.
$DownloadedPercent = 40
$BusySeconds = 600
$BusyCodes = '0x80240009', '0x80240016', '0x80070652'
# Codes of the agent's own, but "all failed": it has refused before any installer ran. Those of its handlers
# (0x80242) come later.
$Refusals = '^0x8024[013456789A-F](?!022$)'

# Carry out a step. Does nothing where it has, or had, a worker.
function Invoke-Worker([string] $Folder) {
    $script:WorkFolder = $Folder
    $script:HasActed = $false
    $held = Lock-Step $Folder
    if ($null -eq $held) { return }
    try {
        if ([System.IO.File]::Exists((Join-Path $Folder 'events'))) { return }
        $request = Get-Request $Folder
        Send-State $StatusSearching 'Searching' 0
        $options = Read-Options ([System.IO.File]::ReadAllBytes((Join-Path $Folder 'context')))
        if ($request.step -eq 'prepare') { Invoke-Prepare $options } else { Invoke-Update $options $request }
    } catch {
        Send-End 'failed' "$(Get-Cause $_)." (-not $script:HasActed)
    } finally {
        $held.Dispose()
        Unregister-ScheduledTask -TaskPath '\Innkeeper\' -TaskName (Get-WorkerName $Folder) -Confirm:$false
    }
}

# Return the lock of a step, or nothing where another worker has it. Whoever looks whether it is held has it for
# a moment, too.
function Lock-Step([string] $Folder) {
    for ($try = 0; $try -lt 20; $try++) {
        try {
            return [System.IO.File]::Open((Join-Path $Folder 'lock'), 'OpenOrCreate', 'ReadWrite', 'None')
        } catch [System.IO.IOException] {
            Start-Sleep -Milliseconds 100
        }
    }
    return $null
}

# Search and download, and agree to the licence terms: all that needs no undo point.
function Invoke-Prepare($Options) {
    $installer = (New-Object -ComObject Microsoft.Update.Session).CreateUpdateInstaller()
    Wait-NotBusy $installer
    if ($installer.RebootRequiredBeforeInstallation) {
        Stop-With 'Windows has to be rebooted before anything can be installed: an earlier update waits for it'
    }
    $found = Find-Updates $Options $true
    if ($found.chosen.Count -eq 0) {
        $nothing = 'Nothing had to be updated' + (Format-Left $found)
        if ($found.unseen.Count -gt 0) { Stop-With ($nothing.Replace('had to be', 'was')) }
        $isDue = $Options.reboot -eq 'always' -or ($Options.reboot -eq 'if_needed' -and (Test-RebootRequired))
        if ($isDue) { Send-Prepared 'ready' "$nothing; a reboot is due." @() }
        else { Send-Prepared 'nothing' "$nothing." @() }
        return
    }
    Send-State $StatusDownloading "Downloading $(Join-Names @($found.chosen | ForEach-Object { $_.name }))" 1
    $ready = New-Object System.Collections.ArrayList
    foreach ($one in $found.chosen) {
        Assert-NotStopped
        $why = Save-Update $found.session $one
        if ($why) { $one.why = $why; [void]$found.left.Add($one) } else { [void]$ready.Add($one) }
    }
    if ($ready.Count -eq 0) { Stop-With "Nothing could be downloaded$(Format-Left $found)" }
    $names = Join-Names @($ready | ForEach-Object { $_.name })
    Send-Prepared 'ready' "Downloaded: $names$(Format-Left $found)." $ready
}

# Download one update; returns why that did not succeed, or nothing.
function Save-Update($Session, $One) {
    try {
        if (-not $One.update.EulaAccepted) {
            [void]$One.update.AcceptEula()
            Send-Output "Agreed to the licence terms of $($One.name)"
        }
        if ($One.update.IsDownloaded) { return '' }
        Send-Output "Downloading $($One.name): $($One.title)"
        $all = New-Object -ComObject Microsoft.Update.UpdateColl
        [void]$all.Add($One.update)
        $downloader = $Session.CreateUpdateDownloader()
        $downloader.ClientApplicationID = 'Innkeeper'
        $downloader.Updates = $all
        $result = $downloader.Download().GetUpdateResult(0)
        if ($result.ResultCode -eq $Succeeded) { return '' }
        return 'its download failed: ' + (Get-Meaning $result.HResult)
    } catch {
        return "its download failed: $(Get-Cause $_)"
    }
}

# Install what has been downloaded.
function Invoke-Update($Options, $Request) {
    $found = Find-Updates $Options (-not $Request.prepared)
    $installer = $found.session.CreateUpdateInstaller()
    Wait-NotBusy $installer
    $done = New-Object System.Collections.ArrayList
    $problems = New-Object System.Collections.ArrayList
    for ($at = 0; $at -lt $found.chosen.Count; $at++) {
        $one = $found.chosen[$at]
        $why = ''
        if (-not $one.update.IsDownloaded) { $why = Save-Update $found.session $one }
        if (-not $why -and $done.Count -gt 0 -and $installer.RebootRequiredBeforeInstallation) {
            $why = 'it can be installed after the reboot'
        }
        if ($why) { $one.why = $why; [void]$found.left.Add($one); continue }
        if (-not $script:HasActed) { Assert-NotStopped }
        $percent = [int]($DownloadedPercent + (99 - $DownloadedPercent) * $at / $found.chosen.Count)
        Send-State $StatusApplying "Installing $($one.name): $($one.title)" $percent
        $problem = Install-Update $found.session $one
        if ($problem) { [void]$problems.Add("$($one.name): $problem") } else { [void]$done.Add($one) }
    }
    Write-Event $script:WorkFolder @{ packages = (Get-PackageRows $done).rows }
    Write-Event $script:WorkFolder @{ installed = @($done | ForEach-Object { [string]$_.update.Identity.UpdateID }) }
    if ($problems.Count -gt 0) {
        $of = if ($done.Count -gt 0) { " ($($done.Count) of $($found.chosen.Count) were installed)" } else { '' }
        Stop-With "An update could not be installed$of. $(Join-Names $problems)"
    }
    $summary = if ($done.Count -eq 1) { '1 update was installed' } else { "$($done.Count) updates were installed" }
    if ($done.Count -eq 0) { $summary = 'Nothing was installed' }
    $summary += Format-Left $found
    if ($done.Count -eq 0 -and $found.left.Count -gt 0 -and $found.chosen.Count -gt 0) { Stop-With $summary }
    if (Test-RebootRequired) { $summary += '; a reboot is due' }
    Send-End 'success' "$summary." $false
}

# Install one update alone, so that each has its own result; returns what went wrong, or nothing.
function Install-Update($Session, $One) {
    $all = New-Object -ComObject Microsoft.Update.UpdateColl
    [void]$all.Add($One.update)
    $installer = $Session.CreateUpdateInstaller()
    $installer.ClientApplicationID = 'Innkeeper'
    $installer.AllowSourcePrompts = $false
    $installer.ForceQuiet = $true
    $installer.Updates = $all
    $giveUp = (Get-Date).AddSeconds($BusySeconds)
    while ($true) {
        # Written before it begins: a worker that dies within has changed something.
        Write-Event $script:WorkFolder @{ acts = $true }
        try {
            $result = $installer.Install().GetUpdateResult(0)
            $code = [int]$result.HResult
            $isGood = $result.ResultCode -eq $Succeeded
        } catch {
            $code = Get-Result $_
            $isGood = $false
        }
        $form = Format-Result $code
        $isBusy = $BusyCodes -contains $form
        if (-not $isGood -and ($isBusy -or $form -match $Refusals)) {
            Write-Event $script:WorkFolder @{ acts = $script:HasActed }
        } else {
            $script:HasActed = $true
        }
        # "Restart required" may come with a code of its own (ERROR_SUCCESS_REBOOT_REQUIRED), and is no failure.
        if ($isGood -or $form -eq '0x80070BC2') { return '' }
        if ($code -ge 0) { return 'its installer reported errors, and no code' }
        if (-not $isBusy -or (Get-Date) -ge $giveUp) { return Get-Meaning $code }
        Send-Output "Waiting: $(Get-Meaning $code)"
        Start-Sleep -Seconds 15
    }
}

# Wait for another installation, for a bounded time.
function Wait-NotBusy($Installer) {
    $giveUp = (Get-Date).AddSeconds($BusySeconds)
    for ($told = $false; $Installer.IsBusy; $told = $true) {
        if ((Get-Date) -ge $giveUp) { Stop-With 'Another installation is under way, and was waited for in vain' }
        if (-not $told) { Send-Output "Waiting for another installation$(Get-Installing)" }
        Assert-NotStopped
        Start-Sleep -Seconds 5
    }
}

# Return which services install something now, for a sentence.
function Get-Installing {
    $at = @(Get-Service -Name 'TrustedInstaller', 'msiserver' -ErrorAction SilentlyContinue |
        Where-Object { $_.Status -eq 'Running' } | ForEach-Object { $_.Name })
    if ($at.Count -gt 0) { return ": $($at -join ', ') runs" }
    return ''
}

# Whether Windows Update or servicing wait for a reboot. Renames that wait for one are no sign: they always do.
function Test-RebootRequired {
    if (Test-RegistryKey 'SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') {
        return $true
    }
    if (Test-RegistryKey 'SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') {
        return $true
    }
    try { return [bool](New-Object -ComObject Microsoft.Update.SystemInfo).RebootRequired } catch { return $false }
}

function Assert-NotStopped {
    if ([System.IO.File]::Exists((Join-Path $script:WorkFolder 'cancel'))) {
        Stop-With "It was stopped at the host's request"
    }
}

function Send-State([int] $Status, [string] $Text, [int] $Percent) {
    Write-Event $script:WorkFolder @{ status = $Status; percent = $Percent; text = (Limit-Text $Text $MaxText) }
}

function Send-Output([string] $Line) {
    Write-Event $script:WorkFolder @{ output = (Limit-Text $Line 2000) }
}

function Send-Prepared([string] $End, [string] $Text, $Ones) {
    $rows = (Get-PackageRows $Ones).rows
    Write-Event $script:WorkFolder @{ end = $End; text = (Limit-Text $Text $MaxText); packages = $rows }
}

function Send-End([string] $End, [string] $Text, [bool] $Unchanged) {
    Write-Event $script:WorkFolder @{ end = $End; text = (Limit-Text $Text $MaxText); unchanged = $Unchanged }
}
